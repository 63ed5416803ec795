"""How good response selections are, by what people or judges preferred; and the fit of `scored`'s weights."""
