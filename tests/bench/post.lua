-- wrk: one small event a request, the same bytes each time (42 bytes of body).
wrk.method = "POST"
wrk.body = '{"name":"bench.event","payload":"0123456"}'
wrk.headers["Content-Type"] = "application/json"
