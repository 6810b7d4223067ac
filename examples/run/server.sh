#!/bin/sh
# A service in the shell: counts the letters of each line. Messages come as lines, see config/run.toml.
# What a caller says is data: it stands in quotes, and is never made part of a command.
while IFS= read -r line; do
    printf '%s has %d letters\n' "$line" "${#line}"
done
