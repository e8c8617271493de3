package main

import (
	"slices"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"go_peer/gen/events"
)

const (
	changesKept  = 65536
	changesAtOne = 4096 // in a message, at most
)

// The latest changes, for all who watch: each is made once and shared. Whoever is behind by more
// than is kept has lost them.
type changes struct {
	lock     sync.RWMutex
	ring     [changesKept]*events.EventStatus
	next     uint64 // how many there have been
	position uint64 // all of the status log up to here has been
	news     chan struct{}
	watchers atomic.Int32
}

func newChanges() *changes { return &changes{news: make(chan struct{})} }

// Without watchers nothing need be made for them.
func (c *changes) watched() bool { return c.watchers.Load() > 0 }

func (c *changes) add(told []*events.EventStatus, position uint64) {
	c.lock.Lock()
	defer c.lock.Unlock()
	for _, change := range told {
		c.ring[c.next%changesKept] = change
		c.next++
	}
	c.position = position
	close(c.news)
	c.news = make(chan struct{})
}

func (c *changes) now() (next, position uint64) {
	c.lock.RLock()
	defer c.lock.RUnlock()
	return c.next, c.position
}

// What comes next, up to where all has been read then, and what tells of more; false: it is lost.
func (c *changes) read(next uint64, into []*events.EventStatus) (
	[]*events.EventStatus, uint64, <-chan struct{}, bool) {
	c.lock.RLock()
	defer c.lock.RUnlock()
	if c.next-next > changesKept {
		return nil, 0, nil, false
	}
	position := c.position
	for ; next < c.next && len(into) < changesAtOne; next++ {
		into = append(into, c.ring[next%changesKept])
	}
	if next < c.next { // the rest of its batch comes with the next message
		position = into[len(into)-1].Position - 1
	}
	return into, position, c.news, true
}

func (t *table) WatchEvents(request *events.WatchEventsRequest,
	stream grpc.ServerStreamingServer[events.WatchEventsResponse]) error {
	if request.Name != "" || request.Start != nil {
		return status.Error(codes.Unimplemented, "all names, from now on")
	}
	t.changes.watchers.Add(1)
	defer t.changes.watchers.Add(-1)
	next, position := t.changes.now()
	if err := stream.Send(&events.WatchEventsResponse{Position: position}); err != nil {
		return err
	}
	read := make([]*events.EventStatus, 0, changesAtOne)
	for {
		found, position, news, kept := t.changes.read(next, read[:0])
		if !kept {
			return status.Error(codes.ResourceExhausted, "the changes are not read fast enough")
		}
		more := len(found) > 0
		next += uint64(len(found))
		if len(request.Statuses) > 0 {
			found = slices.DeleteFunc(found, func(change *events.EventStatus) bool {
				return !slices.Contains(request.Statuses, change.Status)
			})
		}
		if len(found) > 0 {
			message := events.WatchEventsResponse{Changes: found, Position: position}
			if err := stream.Send(&message); err != nil {
				return err
			}
		}
		if more {
			continue
		}
		select {
		case <-news:
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}
