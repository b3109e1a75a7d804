"""The executor `auto`: measures configurations on the job's own steps and uses the fastest."""
