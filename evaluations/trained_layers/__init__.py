"""What is measured of trained layers: linear systems, gains, spectra."""
