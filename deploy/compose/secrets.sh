#!/usr/bin/env bash
# Makes the files that compose.yaml mounts as secrets: a token for clients, a password for PostgreSQL, and the URL with
# it. What is there already is kept, so running it again changes nothing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# The folder is closed to other users of the machine; the files are not, for the containers read them as users of
# their own.
mkdir -p secrets
chmod 700 secrets
umask 022

# Hexadecimal, so that it needs no escaping inside a URL.
random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
keep() { [ -s "secrets/$1" ] || printf '%s' "$2" >"secrets/$1"; }

keep token "$(random)"
keep postgres_password "$(random)"
# The network between the containers is private; on any other use sslmode=verify-full.
keep database_url "postgres://tieout:$(cat secrets/postgres_password)@postgres:5432/tieout?sslmode=disable"
echo "secrets are in $PWD/secrets"
