#!/bin/sh
set -e
for script in /docker-entrypoint.d/*.sh; do
    if [ -x "$script" ]; then echo "Launching $script"; "$script"; else echo "Ignoring $script, not executable"; fi
done
exec "$@"
