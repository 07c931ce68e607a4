#!/bin/sh
# Commands for exabgp come from one file; what it hears goes to another.
: >>/run/exabgp.say
tail -n +1 -f /run/exabgp.say &
cat >/run/exabgp.heard
