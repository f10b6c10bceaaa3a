"""Recipes, data, losses and the loop that trains the networks."""
