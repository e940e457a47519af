package explain

import (
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Kafka explains an error code of Kafka's protocol.
type Kafka struct {
	Number int16  `json:"number"`
	Name   string `json:"name"`
	// Retriable: clients try again by themselves, because it may pass without anyone's doing.
	Retriable bool   `json:"retriable"`
	Cause     string `json:"cause"`
	Fix       string `json:"fix"`
}

// KafkaByNumber finds an error code; ok is false if Kafka's protocol has none of that number.
func KafkaByNumber(number int16) (k Kafka, ok bool) {
	i := int(number) + 1 // the first is -1
	if number == 0 || i < 0 {
		return Kafka{}, false
	}
	if number > 0 {
		i--
	}
	if i >= len(kafkaTexts) {
		return Kafka{}, false
	}
	e, ok := kerr.ErrorForCode(number).(*kerr.Error)
	if !ok {
		return Kafka{}, false
	}
	name := e.Message
	if number == kerr.NotLeaderForPartition.Code {
		name = "NOT_LEADER_OR_FOLLOWER" // its name since Kafka 2.6
	}
	return Kafka{Number: number, Name: name, Retriable: e.Retriable, Cause: kafkaTexts[i].cause, Fix: kafkaTexts[i].fix}, true
}

// KafkaAll is every error code of Kafka's protocol, by number.
func KafkaAll() []Kafka {
	all := make([]Kafka, 0, len(kafkaTexts))
	for i := range kafkaTexts {
		number := int16(i)
		if i == 0 {
			number = -1
		}
		if k, ok := KafkaByNumber(number); ok {
			all = append(all, k)
		}
	}
	return all
}

func findKafka(text string) *Kafka {
	if n, err := strconv.ParseInt(text, 10, 16); err == nil {
		if k, ok := KafkaByNumber(int16(n)); ok {
			return &k
		}
		return nil
	}
	name := strings.ToUpper(strings.ReplaceAll(text, "-", "_"))
	if name == kerr.NotLeaderForPartition.Message {
		name = "NOT_LEADER_OR_FOLLOWER"
	}
	for _, k := range KafkaAll() {
		// Libraries write the names as their language does: UnknownTopicOrPartitionException.
		if k.Name == name || strings.EqualFold(strings.ReplaceAll(k.Name, "_", ""), strings.TrimSuffix(strings.TrimSuffix(text, "Exception"), "Error")) {
			return &k
		}
	}
	return nil
}
