package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"

	"github.com/google/uuid"

	"go_peer/gen/events"
)

// What a table of so many ended events takes: filled directly, as ten_million.c fills ours, and
// with what the collector can give back given back.
func fill(text string) error {
	count, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return err
	}
	t := newTable()
	before, err := residentBytes()
	if err != nil {
		return err
	}
	for position := uint64(1); position <= count; position++ {
		id, ended := idAt(position), cell{attempt: 1, status: events.EventStatus_PROCESSED}
		t.add(id, fmt.Sprintf("name.%d", position%20), position, 0)
		ended.name, ended.position = t.cells[id].name, position
		t.cells[id] = ended
	}
	debug.FreeOSMemory()
	after, err := residentBytes()
	if err != nil {
		return err
	}
	fmt.Printf("{\"events\": %d, \"bytes\": %d}\n", len(t.cells), after-before)
	return nil
}

func idAt(position uint64) (id uuid.UUID) {
	for half := range 2 { // splitmix64
		position += 0x9e3779b97f4a7c15
		z := position
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		binary.LittleEndian.PutUint64(id[half*8:], z^z>>31)
	}
	return id
}

func residentBytes() (int, error) {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, err
	}
	var size, resident int
	_, err = fmt.Sscan(string(text), &size, &resident)
	return resident * os.Getpagesize(), err
}
