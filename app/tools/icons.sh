#!/bin/sh
# Draws the app's icons in public/ out of icon.svg. Needs rsvg-convert (Debian: librsvg2-bin).
# The results are committed, so this runs only when the picture changes.
set -eu
cd "$(dirname "$0")/../public"
rsvg-convert -w 192 -h 192 icon.svg -o icon-192.png
rsvg-convert -w 512 -h 512 icon.svg -o icon-512.png
# A maskable icon is cut to any shape by the system: no rounding of its own, and the picture within the inner 80 %.
sed -e 's/ rx="112"//' -e 's/<g /<g transform="translate(51.2 51.2) scale(.8)" /g' \
    -e 's/<circle cx="256" cy="262"/<circle transform="translate(51.2 51.2) scale(.8)" cx="256" cy="262"/' icon.svg |
  rsvg-convert -w 512 -h 512 -o icon-maskable-512.png
