import os, sys, time
import torch
import torch.nn as nn
from torchvision import datasets, transforms

class KLDLoss(nn.Module):
    def forward(self, mu, log_var):
        per_sample = -0.5*torch.sum(1. + log_var - mu*mu - log_var.exp(), 1)
        return per_sample.mean(0)

class ReconLoss(nn.Module):
    def __init__(self):
        super(ReconLoss,self).__init__()
        self.mse = nn.MSELoss(reduction='sum')
    def forward(self, y, x):
        return self.mse(y,x)/x.size(0)

class VAELoss(nn.Module):
    def __init__(self, beta=1.0):
        super(VAELoss,self).__init__()
        self.beta = beta
        self.rec = ReconLoss()
        self.kld = KLDLoss()
    def forward(self, y, x, mu, log_var):
        return self.rec(y,x) + self.beta*self.kld(mu,log_var)

class Net(nn.Module):
    def __init__(self, nz=64, nf=32):
        super(Net,self).__init__()
        self.nz=nz; self.nf=nf
        self.c1 = nn.Conv2d(3,nf,4,2,1)
        self.c2 = nn.Conv2d(nf,nf*2,4,2,1)
        self.b2 = nn.BatchNorm2d(nf*2)
        self.c3 = nn.Conv2d(nf*2,nf*4,4,2,1)
        self.b3 = nn.BatchNorm2d(nf*4)
        self.lmu = nn.Linear(nf*4*16,nz)
        self.llv = nn.Linear(nf*4*16,nz)
        self.lz = nn.Linear(nz,nf*4*16)
        self.d1 = nn.ConvTranspose2d(nf*4,nf*2,4,2,1)
        self.e1 = nn.BatchNorm2d(nf*2)
        self.d2 = nn.ConvTranspose2d(nf*2,nf,4,2,1)
        self.e2 = nn.BatchNorm2d(nf)
        self.d3 = nn.ConvTranspose2d(nf,3,4,2,1)
        self.act = nn.LeakyReLU(.2)

    def q(self,x):
        h = self.act(self.c1(x))
        h = self.act(self.b2(self.c2(h)))
        h = self.act(self.b3(self.c3(h)))
        h = h.view(h.size(0),-1)
        return self.lmu(h), self.llv(h)

    def p(self,z):
        h = self.act(self.lz(z)).view(-1,self.nf*4,4,4)
        h = self.act(self.e1(self.d1(h)))
        h = self.act(self.e2(self.d2(h)))
        return torch.sigmoid(self.d3(h))

    def forward(self,x):
        mu,lv = self.q(x)
        eps = mu.new_empty(mu.size()).normal_()
        return self.p(mu + eps*(lv*.5).exp()), mu, lv

if __name__=='__main__':
    tf = transforms.Compose([transforms.Resize(32), transforms.ToTensor()])
    dl = torch.utils.data.DataLoader(datasets.CIFAR10('.',download=True,transform=tf),128,True)
    net = Net().cuda() if torch.cuda.is_available() else Net()
    crit = VAELoss()
    opt = torch.optim.Adam(net.parameters(),2e-4)
    for ep in range(50):
        t=time.time()
        for x,_ in dl:
            x=x.to(next(net.parameters()).device)
            y,mu,lv=net(x)
            l=crit(y,x,mu,lv)
            opt.zero_grad(); l.backward(); opt.step()
        print(ep,l.item(),time.time()-t)
        torch.save(net.state_dict(),'net.pt')
