// A peer of Tidings' services for `make bench`: the same jobs, as Go programs do them today.
//
//	go_peer post ADDRESS NATS_URL     POST /api/v1/events with net/http and nats.go
//	go_peer status ADDRESS NATS_URL   GetEventStatus, WatchEvents with grpc-go, fed from both logs
//	go_peer fill EVENTS               what such a table of statuses takes
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"runtime/debug"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	maxInFlight    = 8192
	publishTimeout = 5 * time.Second
)

func connect(url string) (jetstream.JetStream, error) {
	nc, err := nats.Connect(url, nats.MaxReconnects(-1))
	if err != nil {
		return nil, err
	}
	return jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(maxInFlight),
		jetstream.WithPublishAsyncTimeout(publishTimeout))
}

// The stream as Tidings makes it; one that is there stays as it is.
func needStream(ctx context.Context, js jetstream.JetStream) error {
	if _, err := js.Stream(ctx, eventLog); err == nil {
		return nil
	}
	_, err := js.CreateStream(ctx, jetstream.StreamConfig{
		Name:        eventLog,
		Subjects:    []string{subjectPrefix + ">"},
		Storage:     jetstream.FileStorage,
		Retention:   jetstream.LimitsPolicy,
		Discard:     jetstream.DiscardNew,
		Duplicates:  2 * time.Minute,
		DenyDelete:  true,
		DenyPurge:   true,
		AllowDirect: true,
	})
	return err
}

func run(job, address, url string) error {
	js, err := connect(url)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := needStream(ctx, js); err != nil {
		return err
	}
	switch job {
	case "post":
		return servePosts(address, js)
	case "status":
		return serveStatuses(address, js)
	}
	return fmt.Errorf("%s: post or status", job)
}

func main() {
	// What a service with a small heap is commonly set to: by default it would collect all the time.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
	switch {
	case len(os.Args) == 3 && os.Args[1] == "fill":
		if err := fill(os.Args[2]); err != nil {
			log.Fatal(err)
		}
	case len(os.Args) == 4:
		log.Fatal(run(os.Args[1], os.Args[2], os.Args[3]))
	default:
		log.Fatal("usage: go_peer post|status ADDRESS NATS_URL, or fill EVENTS")
	}
}
