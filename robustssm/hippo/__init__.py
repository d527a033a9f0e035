"""HiPPO-LegS and its diagonalisations: matrices, spectra, initialisations, transfer functions."""
