package dialback

import (
	"context"
	"errors"
	"strconv"
	"sync"

	"netvps/tunnel/api"
)

// ErrNotConnected means that no gateway took a request in time.
var ErrNotConnected = errors.New("the session is not connected to its server now: try again")

// ErrNoAnswer means that a gateway took a request, and did not answer in time: it may have been carried out.
var ErrNoAnswer = errors.New("the server did not answer in time: look again with nv status")

// asking is the part of a client for requests of programs in the session. Its zero value is ready.
type asking struct {
	mu      sync.Mutex
	queue   chan *api.ControlRequest
	number  uint64
	waiting map[string]chan *api.SelfServiceResponse // by id
}

// asked returns the requests to send, from which each link takes.
func (a *asking) asked() chan *api.ControlRequest {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.queue == nil {
		a.queue, a.waiting = make(chan *api.ControlRequest), map[string]chan *api.SelfServiceResponse{}
	}
	return a.queue
}

// Ask sends a request, whose id it sets, and waits for the answer until the context ends.
func (a *asking) Ask(ctx context.Context, request *api.SelfServiceRequest) (*api.SelfServiceResponse, error) {
	queue, answer := a.asked(), make(chan *api.SelfServiceResponse, 1)
	a.mu.Lock()
	a.number++
	request.Id = strconv.FormatUint(a.number, 10)
	a.waiting[request.Id] = answer
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.waiting, request.Id)
	}()
	select {
	case queue <- &api.ControlRequest{Message: &api.ControlRequest_SelfService{SelfService: request}}:
	case <-ctx.Done():
		return nil, ErrNotConnected
	}
	select {
	case found := <-answer:
		return found, nil
	case <-ctx.Done():
		return nil, ErrNoAnswer
	}
}

// answered hands an answer to whoever waits for it.
func (a *asking) answered(found *api.SelfServiceResponse) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if waiting := a.waiting[found.GetId()]; waiting != nil {
		delete(a.waiting, found.GetId())
		waiting <- found
	}
}
