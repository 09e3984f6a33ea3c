"""What tests share: oracles, fakes, odd cells, ports of users, and the comparison by name."""
