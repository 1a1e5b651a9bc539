"""Small drawings: numbers in, inline SVG with words for who cannot see it out; colours are the page's own."""
