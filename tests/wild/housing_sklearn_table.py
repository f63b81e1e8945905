import pandas as pd
import torch
import torch.nn as nn
from sklearn.compose import make_column_transformer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

CSV = "housing.csv"
df = pd.read_csv(CSV)
numeric = df.select_dtypes("number").columns
prep = make_column_transformer((StandardScaler(), numeric))
X = prep.fit_transform(df)
X_train, X_test = train_test_split(X, test_size=0.2, random_state=42)
X_train = torch.FloatTensor(X_train)
X_test = torch.FloatTensor(X_test)


class HousingVAE(nn.Module):
    def __init__(self, in_dim=8, hid=20, z=3):
        super(HousingVAE, self).__init__()
        self.linear1 = nn.Linear(in_dim, hid)
        self.lin_bn1 = nn.BatchNorm1d(hid)
        self.linear2 = nn.Linear(hid, hid)
        self.lin_bn2 = nn.BatchNorm1d(hid)
        self.fc21 = nn.Linear(hid, z)
        self.fc22 = nn.Linear(hid, z)
        self.fc3 = nn.Linear(z, hid)
        self.fc_bn3 = nn.BatchNorm1d(hid)
        self.linear6 = nn.Linear(hid, in_dim)
        self.relu = nn.ReLU()

    def encode(self, x):
        h = self.relu(self.lin_bn1(self.linear1(x)))
        h = self.relu(self.lin_bn2(self.linear2(h)))
        return self.fc21(h), self.fc22(h)

    def reparameterize(self, mu, logvar):
        std = logvar.mul(0.5).exp_()
        eps = torch.empty(std.size(), device=std.device).normal_()
        return eps.mul(std).add_(mu)

    def decode(self, z):
        return self.linear6(self.relu(self.fc_bn3(self.fc3(z))))

    def forward(self, x):
        mu, logvar = self.encode(x)
        return self.decode(self.reparameterize(mu, logvar)), mu, logvar


class customLoss(nn.Module):
    def __init__(self):
        super(customLoss, self).__init__()
        self.mse_loss = nn.MSELoss()

    def forward(self, x_recon, x, mu, logvar):
        loss_MSE = self.mse_loss(x_recon, x)
        loss_KLD = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
        return loss_MSE + loss_KLD


model = HousingVAE(in_dim=X_train.shape[1])
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
loss_mse = customLoss()

for epoch in range(1, 201):
    model.train()
    for data in X_train.split(256):
        optimizer.zero_grad()
        recon_batch, mu, logvar = model(data)
        loss = loss_mse(recon_batch, data, mu, logvar)
        loss.backward()
        optimizer.step()
    if epoch % 20 == 0:
        model.eval()
        with torch.no_grad():
            recon_batch, mu, logvar = model(X_test)
            print(epoch, loss.item(), loss_mse(recon_batch, X_test, mu, logvar).item())
