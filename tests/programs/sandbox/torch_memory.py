import torch
torch.nn.Linear(4, 4)(torch.ones(2, 4)).sum().backward()
model = torch.compile(torch.nn.Linear(2, 2))
model(torch.ones(1, 2))
try: torch.empty(5 * 2**30).fill_(1.0)
except RuntimeError: answer = 'refused'
torch.save([torch.ones(2)], 'w.pt')
try: torch.save([torch.ones(2)], outside + '/w.pt')  # compiled code that opens a file: no audit event
except (OSError, RuntimeError): pass
torch.ones(5 * 2**30)
