#!/bin/sh
echo "redis $REDIS_VERSION: [$1] [$2] in $(pwd) of $(stat -c %U .) as $(id -un)"
