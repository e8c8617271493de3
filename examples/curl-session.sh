#!/usr/bin/env bash
# Everything that a producer may want, with curl alone. GATEWAY says where (http://localhost:8080).
set -euo pipefail
events=${GATEWAY:-http://localhost:8080}/api/v1/events
order=order-$$-$(date +%s) # an id of our own: sending again is safe then

say() { printf '\n# %s\n' "$*"; }
event() { # event TOTAL: an order, with its id
    printf '{"id":"%s","source":"/shop","name":"order.created","payload":{"total":%s}}' \
        "$order" "$1"
}
send() { curl -sS -w 'HTTP %{http_code}\n' "$events" -H "Content-Type: application/json" "$@"; }

say "An event. 202 means that it is stored."
send -d "$(event 12.5)"

say "The same again, as after a time-out: still one event."
send -d "$(event 12.5)"

say "The same once more, as a CloudEvent."
send -H "ce-specversion: 1.0" -H "ce-id: $order" -H "ce-source: /shop" -H "ce-type: order.created" \
    -d '{"total":12.5}'

say "Another event with an id that is taken: refused."
send -d "$(event 99)"

say "No event: the answer says why."
send -d '{"name":"order..created"}'

say "What became of it: asked until it has ended."
for _ in {1..100}; do
    status=$(curl -sS "$events/$order?source=/shop&view=full")
    case $status in *'"status":"processed"'* | *'"status":"dead"'*) break ;; esac
    sleep 0.1
done
echo "$status"
