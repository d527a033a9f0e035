"""What a mode counts, in the words of an axis, by the unit that a plan has on record."""

MODE_LABEL = {
    "bin": "Fourier mode (cycles per sequence)",
    "spike": "spike of S4D-LegS, counted from the highest frequency",
    "omega": "omega (rad per unit of the layer's time)",
    "cycles": "cycles per sample",
    "hz": "frequency (Hz)",
    "value": "what `mode` stands for in the noise",
}
