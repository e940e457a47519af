package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirmq/weir/sim/check"
)

// administer creates, deletes and describes topics through all crashes, each request sent once: a retry
// by the client could not be told from a second request.
func (l *load) administer(r *rand.Rand) error {
	cl, err := l.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	names := []string{"admin-1", "admin-2", "admin-3"}
	last := len(names)
	for l.reading.Err() == nil {
		at := r.IntN(len(names))
		op := check.Op{Process: adminProcess, F: []string{check.Create, check.Delete, check.Describe, check.Describe}[r.IntN(4)], Topic: names[at]}
		known, err := l.ask(cl.SeedBrokers()[0], op)
		if err != nil {
			return err
		}
		if !known && op.F != check.Describe {
			// What became of it shows in what is described from now on. Another such request on the same name
			// would make the history ambiguous, so the name is only looked at, and given up after a while.
			for range 3 {
				time.Sleep(time.Duration(r.IntN(200)) * time.Millisecond)
				if _, err := l.ask(cl.SeedBrokers()[0], check.Op{Process: adminProcess, F: check.Describe, Topic: names[at]}); err != nil {
					return err
				}
			}
			last++
			names[at] = fmt.Sprint("admin-", last)
		}
		select {
		case <-time.After(time.Duration(r.IntN(60)) * time.Millisecond):
		case <-l.reading.Done():
		}
	}
	return nil
}

// ask sends one request and writes down what came of it; known says whether the outcome is certain. The
// error is an answer that should not be.
func (l *load) ask(to *kgo.Broker, op check.Op) (known bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	n := l.history.call(op)
	var code int16
	var id [16]byte
	var expected error // the answer when the topic is not, or is already, there
	switch op.F {
	case check.Create:
		req := kmsg.NewPtrCreateTopicsRequest()
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = op.Topic, 2, 1
		req.Topics, req.TimeoutMillis = append(req.Topics, t), 5000
		resp, err := to.Request(ctx, req)
		if err != nil {
			return false, nil
		}
		answer := &resp.(*kmsg.CreateTopicsResponse).Topics[0]
		code, id, expected = answer.ErrorCode, answer.TopicID, kerr.TopicAlreadyExists
	case check.Delete:
		req := kmsg.NewPtrDeleteTopicsRequest()
		t := kmsg.NewDeleteTopicsRequestTopic()
		t.Topic = &op.Topic
		req.Topics, req.TopicNames, req.TimeoutMillis = append(req.Topics, t), []string{op.Topic}, 5000
		resp, err := to.Request(ctx, req)
		if err != nil {
			return false, nil
		}
		code, expected = resp.(*kmsg.DeleteTopicsResponse).Topics[0].ErrorCode, kerr.UnknownTopicOrPartition
	default:
		req := kmsg.NewPtrMetadataRequest()
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = &op.Topic
		req.Topics = append(req.Topics, t)
		resp, err := to.Request(ctx, req)
		if err != nil {
			return false, nil
		}
		answer := &resp.(*kmsg.MetadataResponse).Topics[0]
		code, id, expected = answer.ErrorCode, answer.TopicID, kerr.UnknownTopicOrPartition
	}
	got := kerr.ErrorForCode(code)
	if got != nil && !errors.Is(got, expected) {
		return false, fmt.Errorf("%s %s: %w", op.F, op.Topic, got)
	}
	l.history.ok(n, func(op *check.Op) {
		switch {
		case op.F == check.Create:
			op.Found = got != nil
		default:
			op.Found = got == nil
		}
		if got == nil && id != [16]byte{} {
			op.TopicID = fmt.Sprintf("%x", id)
		}
	})
	return true, nil
}
