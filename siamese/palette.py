"""Colours of every plot, told apart by colour-blind eyes too (Okabe & Ito 2008)."""

BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#6c757d"
SKY, AMBER = "#56b4e9", "#e69f00"
