"""The ten residents' stories; docs/city.md tells three at length: the newsletter, the permit, staying anonymous."""
