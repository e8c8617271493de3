// The CloudEvents SDK for Go, for test_cloudevents.py.
//
//	sdk send structured|binary URL   posts the events of standard input; prints the answers
//	sdk read NATS-URL STREAM         prints a stream as the SDK's JetStream binding reads it
//
// Events are described as in cloud_events.py. The SDK leaves the percent-encoding of headers to its
// caller, and so does its JetStream binding.
package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	jetstream "github.com/cloudevents/sdk-go/protocol/nats_jetstream/v2"
	cloudevents "github.com/cloudevents/sdk-go/v2"
	"github.com/cloudevents/sdk-go/v2/binding"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/nats-io/nats.go"
)

type data struct {
	JSON   json.RawMessage `json:"json,omitempty"`
	Text   *string         `json:"text,omitempty"`
	Base64 []byte          `json:"base64,omitempty"`
}

type description struct {
	Attributes map[string]string      `json:"attributes"`
	Extensions map[string]interface{} `json:"extensions"`
	Data       data                   `json:"data"`
}

type answer struct {
	Status int    `json:"status"`
	Body   string `json:"body"`
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// Section 3.1.3.2 of the HTTP binding.
func encode(value string) string {
	var out strings.Builder
	for _, b := range []byte(value) {
		if b <= ' ' || b >= 0x7f || b == '"' || b == '%' {
			out.WriteString("%" + strings.ToUpper(string("0123456789abcdef"[b>>4])+
				string("0123456789abcdef"[b&15])))
		} else {
			out.WriteByte(b)
		}
	}
	return out.String()
}

func plain(value string) string { return value }

func eventOf(d description, header func(string) string) cloudevents.Event {
	event := cloudevents.NewEvent()
	contentType := d.Attributes["datacontenttype"]
	event.SetID(header(d.Attributes["id"]))
	event.SetSource(header(d.Attributes["source"]))
	event.SetType(d.Attributes["type"])
	if v, ok := d.Attributes["subject"]; ok {
		event.SetSubject(header(v))
	}
	if v, ok := d.Attributes["dataschema"]; ok {
		event.SetDataSchema(header(v))
	}
	if v, ok := d.Attributes["time"]; ok {
		at, err := time.Parse(time.RFC3339, v)
		check(err)
		event.SetTime(at)
	}
	for name, value := range d.Extensions {
		switch v := value.(type) {
		case string:
			event.SetExtension(name, header(v))
		case float64:
			event.SetExtension(name, int32(v))
		default:
			event.SetExtension(name, v)
		}
	}
	switch {
	case d.Data.JSON != nil: // SetData knows few media types unless it is given bytes
		check(event.SetData(contentType, []byte(d.Data.JSON)))
		event.DataBase64 = contentType != "application/json" // the only JSON that it knows
	case d.Data.Text != nil:
		check(event.SetData(contentType, []byte(*d.Data.Text)))
		event.DataBase64 = false
	case d.Data.Base64 != nil:
		check(event.SetData(contentType, d.Data.Base64))
	}
	check(event.Validate())
	return event
}

func post(event cloudevents.Event, mode, url string) answer {
	request, err := http.NewRequest(http.MethodPost, url, nil)
	check(err)
	ctx := binding.WithForceBinary(context.Background())
	if mode == "structured" {
		ctx = binding.WithForceStructured(context.Background())
	}
	check(cehttp.WriteRequest(ctx, binding.ToMessage(&event), request))
	reply, err := http.DefaultClient.Do(request)
	check(err)
	defer reply.Body.Close()
	body, err := io.ReadAll(reply.Body)
	check(err)
	return answer{reply.StatusCode, string(body)}
}

func send(mode, url string) interface{} {
	var descriptions []description
	check(json.NewDecoder(os.Stdin).Decode(&descriptions))
	header := plain
	if mode == "binary" {
		header = encode
	}
	if mode == "raw" { // binary, as the SDK does it by itself
		mode = "binary"
	}
	answers := []answer{}
	for _, d := range descriptions {
		answers = append(answers, post(eventOf(d, header), mode, url))
	}
	return answers
}

func describe(event *cloudevents.Event) description {
	d := description{map[string]string{
		"specversion": event.SpecVersion(), "id": event.ID(), "source": event.Source(),
		"type": event.Type(), "subject": event.Subject(), "dataschema": event.DataSchema(),
		"time":            event.Time().Format(time.RFC3339Nano),
		"datacontenttype": event.DataContentType(),
	}, event.Extensions(), data{Base64: event.Data()}}
	for name, value := range d.Attributes {
		if value == "" {
			delete(d.Attributes, name)
		}
	}
	return d
}

func read(url, stream string) interface{} {
	connection, err := nats.Connect(url)
	check(err)
	defer connection.Close()
	js, err := connection.JetStream()
	check(err)
	info, err := js.StreamInfo(stream)
	check(err)
	descriptions := []description{}
	subscription, err := js.SubscribeSync("", nats.OrderedConsumer(), nats.BindStream(stream))
	check(err)
	for range make([]struct{}, info.State.Msgs) {
		message, err := subscription.NextMsg(10 * time.Second)
		check(err)
		event, err := binding.ToEvent(context.Background(), jetstream.NewMessage(message))
		check(err)
		descriptions = append(descriptions, describe(event))
	}
	return descriptions
}

func main() {
	var result interface{}
	if os.Args[1] == "send" {
		result = send(os.Args[2], os.Args[3])
	} else {
		result = read(os.Args[2], os.Args[3])
	}
	check(json.NewEncoder(os.Stdout).Encode(result))
}
