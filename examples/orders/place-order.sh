#!/usr/bin/env bash
# Places an order and waits until it is confirmed: place-order.sh NUMBER
set -euo pipefail
events=${GATEWAY:-http://localhost:8080}/api/v1/events
number=${1:?which order}

order='{"id":"%s","source":"/shop","name":"order.created","payload":{"order":"%s"}}'
# shellcheck disable=SC2059 # it is a format
order=$(printf "$order" "$number" "$number")
placed=$(curl -sS --fail-with-body "$events" -H "Content-Type: application/json" -d "$order")
echo "$placed"
cause=${placed#*'"event_id":"'}
cause=${cause%%'"'*}

# The worker makes the confirmation's id from the order's event_id.
for _ in {1..300}; do
    if confirmed=$(curl -s --fail "$events/$cause.confirmed?source=/orders&view=full"); then
        echo "$confirmed"
        exit
    fi
    sleep 0.1
done
echo "order $number is not confirmed: does the worker run?" >&2
exit 1
