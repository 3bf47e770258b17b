#!/bin/sh
echo "listen [::]:80;" >>/etc/nginx/conf.d/default.conf
