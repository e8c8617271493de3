package main

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
)

const (
	eventLog      = "TIDINGS_EVENTS"
	subjectPrefix = "tidings.events."
	defaultSource = "/tidings"
	jsonType      = "application/json"
	timeForm      = "2006-01-02T15:04:05.000Z"
)

var producerNamespace = uuid.MustParse("8c3d57a5-fe0b-4f44-b934-24bc65a6c989")

// An event as docs/http-api.md has it: plain JSON.
type event struct {
	Name    string         `json:"name"`
	Payload jsontext.Value `json:"payload"`
	Key     *string        `json:"key"`
	Time    *string        `json:"time"`
	ID      *string        `json:"id"`
	Source  *string        `json:"source"`
}

type invalid string // well-formed, but no event

func (e invalid) Error() string { return string(e) }

func parseEvent(body []byte) (*event, error) {
	e := new(event)
	if err := json.Unmarshal(body, e, json.RejectUnknownMembers(true)); err != nil {
		return nil, err
	}
	return e, e.check()
}

func (e *event) check() error {
	if !isName(e.Name) {
		return invalid("name: 1 to 128 of A-Z a-z 0-9 _ - in parts separated by dots")
	}
	for _, m := range []struct {
		what string
		text *string
		most int
	}{{"key", e.Key, 256}, {"id", e.ID, 256}, {"source", e.Source, 512}} {
		if m.text != nil && !isText(*m.text, m.most) {
			return invalid(fmt.Sprintf("%s: 1 to %d bytes, no control characters", m.what, m.most))
		}
	}
	if e.Time != nil {
		if _, err := time.Parse(time.RFC3339, *e.Time); err != nil {
			return invalid("time: an RFC 3339 date-time")
		}
	}
	return nil
}

func isName(name string) bool {
	if len(name) == 0 || len(name) > 128 {
		return false
	}
	dot := true // an empty part so far
	for i := 0; i < len(name); i++ {
		c := name[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-':
			dot = false
		case c == '.' && !dot:
			dot = true
		default:
			return false
		}
	}
	return !dot
}

func isText(text string, most int) bool {
	if len(text) == 0 || len(text) > most {
		return false
	}
	for i := 0; i < len(text); i++ {
		if text[i] < ' ' || text[i] == 0x7f {
			return false
		}
	}
	return true
}

func (e *event) source() string {
	if e.Source != nil {
		return *e.Source
	}
	return defaultSource
}

func (e *event) identity() (uuid.UUID, error) {
	if e.ID == nil {
		return uuid.NewV7()
	}
	return idOf(e.source(), *e.ID), nil
}

func idOf(source, producerID string) uuid.UUID {
	if len(producerID) == 36 {
		if id, err := uuid.Parse(producerID); err == nil && id != uuid.Nil {
			return id
		}
	}
	return uuid.NewSHA1(producerNamespace, []byte(source+"\n"+producerID))
}

func (e *event) digest(contentType string) string {
	key := ""
	if e.Key != nil {
		key = *e.Key
	}
	var room [512]byte
	head := room[:0]
	for _, field := range [...]string{e.Name, e.source(), key, contentType, "", ""} {
		head = binary.BigEndian.AppendUint32(head, uint32(len(field)))
		head = append(head, field...)
	}
	head = binary.BigEndian.AppendUint32(head, uint32(len(e.Payload)))
	var sum [sha256.Size]byte
	hash := sha256.New()
	hash.Write(head)
	hash.Write(e.Payload)
	hash.Sum(sum[:0])
	return hex.EncodeToString(sum[:16])
}

// The value of a ce- header: the NATS binding's percent-encoding.
func encoded(text string) string {
	plain := true
	for i := 0; i < len(text); i++ {
		plain = plain && !mustEncode(text[i])
	}
	if plain {
		return text
	}
	out := make([]byte, 0, len(text)+16)
	for i := 0; i < len(text); i++ {
		if mustEncode(text[i]) {
			out = fmt.Appendf(out, "%%%02X", text[i])
		} else {
			out = append(out, text[i])
		}
	}
	return string(out)
}

func mustEncode(c byte) bool {
	return c <= ' ' || c >= 0x7f || c == '"' || c == '%'
}

// The event as docs/bus.md lays it out. One array holds all values: a slice of its own for each
// would be an allocation each.
func (e *event) message(id string, now time.Time) *nats.Msg {
	header := make(nats.Header, 11)
	values := make([]string, 0, 11)
	set := func(name, value string) {
		values = append(values, value)
		header[name] = values[len(values)-1 : len(values) : len(values)]
	}
	contentType := ""
	if e.Payload != nil {
		contentType = jsonType
	}
	set("Tidings-Event-Id", id)
	set("Tidings-Digest", e.digest(contentType))
	set("ce-specversion", "1.0")
	set("ce-source", encoded(e.source()))
	set("ce-type", e.Name)
	if e.ID != nil {
		set("Nats-Msg-Id", id)
		set("ce-id", encoded(*e.ID))
	} else {
		set("ce-id", id)
	}
	if e.Time != nil {
		set("ce-time", *e.Time)
	} else {
		set("ce-time", now.UTC().Format(timeForm))
	}
	if contentType != "" {
		set("ce-datacontenttype", contentType)
		set("content-type", contentType)
	}
	if e.Key != nil {
		set("ce-partitionkey", encoded(*e.Key))
	}
	return &nats.Msg{Subject: subjectPrefix + e.Name, Header: header, Data: e.Payload}
}
