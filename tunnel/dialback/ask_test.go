package dialback_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"netvps/tunnel/api"
	"netvps/tunnel/dialback"
)

func TestRequestsFromInsideGetTheirAnswers(t *testing.T) {
	a := start(t)
	answers := make(chan *api.SelfServiceResponse, 2)
	for range 2 {
		go func() {
			found, err := a.client.Ask(t.Context(), &api.SelfServiceRequest{Request: &api.SelfServiceRequest_Status{Status: true}})
			if err != nil {
				t.Errorf("Ask: %v", err)
			}
			answers <- found
		}()
	}
	var ids []string
	for range 2 {
		a.Next(func(m *api.ControlRequest) bool {
			asked := m.GetSelfService()
			if asked.GetStatus() {
				ids = append(ids, asked.GetId())
			}
			return asked.GetStatus()
		})
	}
	for _, id := range append(ids, "unknown") {
		response := &api.SelfServiceResponse{Id: id, Text: "for " + id}
		a.Say(&api.ControlResponse{Message: &api.ControlResponse_SelfService{SelfService: response}})
	}
	for range 2 {
		if found := <-answers; found.GetText() != "for "+found.GetId() {
			t.Errorf("got %v", found)
		}
	}
	if ids[0] == ids[1] {
		t.Errorf("the same id twice: %v", ids)
	}
}

func TestARequestEndsWithItsTime(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := (&dialback.Client{}).Ask(ctx, &api.SelfServiceRequest{}); !errors.Is(err, dialback.ErrNotConnected) {
		t.Errorf("without a gateway: %v", err)
	}
	a := start(t)
	a.applies(7)
	ctx, cancel = context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if _, err := a.client.Ask(ctx, &api.SelfServiceRequest{}); !errors.Is(err, dialback.ErrNoAnswer) {
		t.Errorf("with a silent gateway: %v", err)
	}
}

func TestNoticesAreHandedOn(t *testing.T) {
	a := start(t)
	a.applies(7)
	a.Say(&api.ControlResponse{Message: &api.ControlResponse_Notice{Notice: &api.SleepNotice{Greeting: "hello", Warning: "soon"}}})
	if notice := <-a.notices; notice.GetGreeting() != "hello" || notice.GetWarning() != "soon" {
		t.Errorf("got %v", notice)
	}
}

func TestReportsAreRepeatedWithoutAChange(t *testing.T) {
	a := start(t)
	var times []time.Time
	for range 2 {
		a.Next(func(m *api.ControlRequest) bool {
			seen := m.GetActivity()
			if seen != nil {
				times = append(times, seen.GetTime().AsTime())
			}
			return seen != nil
		})
	}
	if !times[1].After(times[0]) {
		t.Errorf("at %v", times)
	}
}
