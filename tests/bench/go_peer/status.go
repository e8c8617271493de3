package main

import (
	"context"
	"math"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"go_peer/gen/events"
	"go_peer/gen/records"
)

const statusLog = "TIDINGS_STATUS_default"

// What is known of an event.
type cell struct {
	name       string
	position   uint64
	updated    int64 // seconds since 1970
	attempt    uint32
	generation uint32
	status     events.EventStatus_Status
}

type table struct {
	events.UnimplementedEventServiceServer
	lock     sync.RWMutex
	cells    map[uuid.UUID]cell
	names    map[string]string // one string for all events of a name
	position atomic.Uint64     // of the status log
	changes  *changes
}

func newTable() *table {
	return &table{cells: make(map[uuid.UUID]cell), names: make(map[string]string),
		changes: newChanges()}
}

func serveStatuses(address string, js jetstream.JetStream) error {
	t := newTable()
	if err := t.follow(js, eventLog, true, t.addEvent); err != nil {
		return err
	}
	if err := t.follow(js, statusLog, false, t.addChanges); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	server := grpc.NewServer(
		grpc.NumStreamWorkers(uint32(runtime.GOMAXPROCS(0))),
		grpc.MaxConcurrentStreams(math.MaxUint32),
		grpc.SharedWriteBuffer(false),
		grpc.WriteBufferSize(64<<10), grpc.ReadBufferSize(64<<10))
	events.RegisterEventServiceServer(server, t)
	return server.Serve(listener)
}

// ---- both logs ----

func (t *table) follow(js jetstream.JetStream, log string, headersOnly bool,
	take func(jetstream.Msg, *jetstream.MsgMetadata)) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	consumer, err := js.OrderedConsumer(ctx, log,
		jetstream.OrderedConsumerConfig{HeadersOnly: headersOnly})
	if err != nil {
		return err
	}
	_, err = consumer.Consume(func(message jetstream.Msg) {
		if meta, err := message.Metadata(); err == nil {
			take(message, meta)
		}
	})
	return err
}

func (t *table) addEvent(message jetstream.Msg, meta *jetstream.MsgMetadata) {
	id, err := uuid.Parse(message.Headers().Get("Tidings-Event-Id"))
	if err != nil {
		return
	}
	t.add(id, strings.TrimPrefix(message.Subject(), subjectPrefix), meta.Sequence.Stream,
		meta.Timestamp.Unix())
}

func (t *table) add(id uuid.UUID, name string, position uint64, at int64) {
	t.lock.Lock()
	defer t.lock.Unlock()
	known, found := t.cells[id]
	if found && known.name != "" {
		return // a copy
	}
	if !found { // else its outcome came before it, from the other log
		known = cell{status: events.EventStatus_ACCEPTED, updated: at}
	}
	if t.names[name] == "" {
		name = strings.Clone(name) // not all of the subject
		t.names[name] = name
	}
	known.name = t.names[name]
	known.position = position
	t.cells[id] = known
}

func (t *table) addChanges(message jetstream.Msg, meta *jetstream.MsgMetadata) {
	var batch records.StatusBatch
	if proto.Unmarshal(message.Data(), &batch) != nil || batch.Version != 1 {
		return
	}
	position := meta.Sequence.Stream
	var told []*events.EventStatus
	t.lock.Lock()
	for i, state := range batch.Statuses {
		id := uuid.UUID(batch.EventIds[i*16 : i*16+16])
		change := cell{
			name:       t.cells[id].name,
			position:   batch.EventPositions[i],
			updated:    batch.TimesMs[i] / 1000,
			attempt:    batch.Attempts[i],
			generation: batch.Generations[i],
			status:     events.EventStatus_Status(state & 15),
		}
		if change.wins(t.cells[id]) {
			t.cells[id] = change
			if t.changes.watched() {
				told = append(told, change.shown(id, position))
			}
		}
	}
	t.lock.Unlock()
	t.position.Store(position)
	t.changes.add(told, position)
}

func (c cell) wins(old cell) bool {
	switch {
	case c.generation != old.generation:
		return c.generation > old.generation
	case old.status >= events.EventStatus_PROCESSED:
		return false
	case c.attempt != old.attempt:
		return c.attempt > old.attempt
	}
	return c.status > old.status
}

// ---- the call ----

func (t *table) GetEventStatus(_ context.Context, request *events.GetEventStatusRequest) (
	*events.EventStatus, error) {
	if request.View == events.EventView_FULL {
		return nil, status.Error(codes.Unimplemented, "BASIC only")
	}
	if !isText(request.EventId, 256) {
		return nil, status.Error(codes.InvalidArgument, "event_id: 1 to 256 bytes")
	}
	source := request.Source
	if source == "" {
		source = defaultSource
	}
	id := idOf(source, request.EventId)
	position := t.position.Load()
	if position < request.MinPosition {
		return nil, status.Error(codes.Unavailable, "not that far yet")
	}
	t.lock.RLock()
	found, ok := t.cells[id]
	t.lock.RUnlock()
	if !ok || found.name == "" {
		return nil, status.Error(codes.NotFound, "no such event")
	}
	return found.shown(id, position), nil
}

func (c cell) shown(id uuid.UUID, position uint64) *events.EventStatus {
	return &events.EventStatus{
		EventId:       id.String(),
		Status:        c.status,
		Name:          c.name,
		Attempt:       c.attempt,
		Generation:    c.generation,
		UpdatedAt:     &timestamppb.Timestamp{Seconds: c.updated},
		EventPosition: c.position,
		Position:      position,
	}
}
