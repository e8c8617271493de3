package main

import (
	"context"
	"encoding/json/v2"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const maxBody = 1 << 20

type gateway struct{ js jetstream.JetStream }

func servePosts(address string, js jetstream.JetStream) error {
	uuid.EnableRandPool()
	mux := http.NewServeMux()
	mux.Handle("POST /api/v1/events", gateway{js})
	server := http.Server{
		Addr:              address,
		Handler:           mux,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       75 * time.Second,
		MaxHeaderBytes:    16 << 10,
	}
	return server.ListenAndServe()
}

func (g gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header["Cache-Control"] = []string{"no-store"}
	header["X-Request-Id"] = []string{requestID(r)}
	if !isJSON(r.Header.Get("Content-Type")) {
		refuse(w, http.StatusUnsupportedMediaType, "unsupported-media-type", "not JSON", "")
		return
	}
	body, err := readBody(w, r)
	if err != nil {
		refuse(w, http.StatusRequestEntityTooLarge, "too-large", err.Error(), "")
		return
	}
	e, err := parseEvent(body)
	if err != nil {
		status, kind := http.StatusBadRequest, "malformed"
		if errors.As(err, new(invalid)) {
			status, kind = http.StatusUnprocessableEntity, "invalid"
		}
		refuse(w, status, kind, err.Error(), "")
		return
	}
	g.store(w, r.Context(), e)
}

func (g gateway) store(w http.ResponseWriter, ctx context.Context, e *event) {
	made, err := e.identity()
	if err != nil {
		refuse(w, http.StatusInternalServerError, "internal", err.Error(), "")
		return
	}
	id := made.String()
	message := e.message(id, time.Now())
	ack, err := publish(g.js, message)
	if err != nil {
		explain(w, err, id)
		return
	}
	if ack.Duplicate && !g.isSame(ctx, ack, message) {
		refuse(w, http.StatusConflict, "id-reused", "another event has this id", id)
		return
	}
	accept(w, id, ack.Duplicate)
}

func publish(js jetstream.JetStream, message *nats.Msg) (*jetstream.PubAck, error) {
	future, err := js.PublishMsgAsync(message)
	if err != nil {
		return nil, err
	}
	select {
	case ack := <-future.Ok():
		return ack, nil
	case err := <-future.Err():
		return nil, err
	}
}

// Whether what is stored under this id has the same content.
func (g gateway) isSame(ctx context.Context, ack *jetstream.PubAck, message *nats.Msg) bool {
	stream, err := g.js.Stream(ctx, ack.Stream)
	if err != nil {
		return false
	}
	first, err := stream.GetMsg(ctx, ack.Sequence)
	return err == nil &&
		first.Header["Tidings-Digest"][0] == message.Header["Tidings-Digest"][0]
}

func accept(w http.ResponseWriter, id string, duplicate bool) {
	answer := make([]byte, 0, 128)
	answer = append(answer, `{"event_id":"`...)
	answer = append(answer, id...)
	answer = append(answer, `","status":"accepted"`...)
	if duplicate {
		answer = append(answer, `,"duplicate":true`...)
	}
	answer = append(answer, "}\n"...)
	header := w.Header()
	header["Content-Type"] = []string{jsonType}
	header["Content-Length"] = []string{strconv.Itoa(len(answer))}
	header["Location"] = []string{"/api/v1/events/" + id}
	w.WriteHeader(http.StatusAccepted)
	w.Write(answer)
}

func explain(w http.ResponseWriter, err error, id string) {
	var api *jetstream.APIError
	switch {
	case errors.Is(err, jetstream.ErrAsyncPublishTimeout):
		refuse(w, http.StatusGatewayTimeout, "unknown-outcome", err.Error(), id)
	case errors.Is(err, jetstream.ErrTooManyStalledMsgs):
		refuse(w, http.StatusTooManyRequests, "too-many-requests", err.Error(), "")
	case errors.As(err, &api) && api.ErrorCode == 10077:
		refuse(w, http.StatusInsufficientStorage, "log-full", err.Error(), "")
	default:
		refuse(w, http.StatusServiceUnavailable, "unavailable", err.Error(), "")
	}
}

func refuse(w http.ResponseWriter, status int, kind, detail, id string) {
	problem := map[string]any{"type": "urn:tidings:problem:" + kind, "status": status,
		"title": http.StatusText(status), "detail": detail}
	if id != "" {
		problem["event_id"] = id
	}
	w.Header()["Content-Type"] = []string{"application/problem+json"}
	w.WriteHeader(status)
	json.MarshalWrite(w, problem)
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.ContentLength > maxBody {
		return nil, errors.New("a body has at most 1 MiB")
	}
	if r.ContentLength < 0 {
		return io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	}
	body := make([]byte, r.ContentLength)
	_, err := io.ReadFull(r.Body, body)
	return body, err
}

func isJSON(contentType string) bool {
	if contentType == jsonType {
		return true
	}
	kind, _, err := mime.ParseMediaType(contentType)
	return err == nil && kind == jsonType
}

func requestID(r *http.Request) string {
	id := r.Header.Get("X-Request-Id")
	if isText(id, 128) {
		return id
	}
	made, err := uuid.NewV7()
	if err != nil {
		return ""
	}
	return made.String()
}
