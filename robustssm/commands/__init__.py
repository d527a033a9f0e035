"""The commands, one file each. With `robustssm.cli` the top floor: nothing imports them."""
