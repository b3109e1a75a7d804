"""Networks of torch.nn.Sequential, from a download and to a spec."""
