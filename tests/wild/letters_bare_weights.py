# Letters with weights that live in no module, as one wrote before nn.Module was taught first.
import numpy as np
import torch
from torch.autograd import Variable
from tensorflow.examples.tutorials.mnist import input_data

letters = input_data.read_data_sets("letters", one_hot=True)
rows, width, codes = 50, letters.train.images.shape[1], 12


def weights(down, up):
    return Variable(torch.randn(down, up) / np.sqrt(down), requires_grad=True)


into, to_mean, to_log = weights(width, 90), weights(90, codes), weights(90, codes)
out_of, to_page = weights(codes, 90), weights(90, width)

adam = torch.optim.Adam([into, to_mean, to_log, out_of, to_page], lr=2e-3)
for turn in range(5000):
    page, _ = letters.train.next_batch(rows)
    page = Variable(torch.from_numpy(page))
    hidden = torch.tanh(page @ into)
    centre, log_variance = hidden @ to_mean, hidden @ to_log
    code = centre + (log_variance / 2).exp() * Variable(torch.randn(centre.size()))
    copy = torch.sigmoid(torch.tanh(code @ out_of) @ to_page)
    miss = torch.nn.functional.binary_cross_entropy(copy, page, reduction="sum")
    price = 0.5 * (log_variance.exp() + centre**2 - 1 - log_variance).sum()
    (miss + price).backward()
    adam.step()
    adam.zero_grad()
