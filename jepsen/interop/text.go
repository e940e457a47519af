package main

import (
	"bytes"
	"fmt"
	"strings"
	"time"
)

// metadata checks that each sees topics that the other made.
func (s *suite) metadata() {
	s.try("kcat sees a topic that weir made", func() error {
		topic, err := s.topic("seen", 5)
		if err != nil {
			return err
		}
		out, err := s.kcat(nil, "-L", "-t", topic)
		if err == nil && !bytes.Contains(out, fmt.Appendf(nil, `topic "%s" with 5 partitions`, topic)) {
			err = fmt.Errorf("kcat sees: %s", out)
		}
		return err
	})
	s.try("weir sees a topic that kcat's first record made", func() error {
		if _, err := s.kcat([]byte("x\n"), "-P", "-t", "born-on-demand"); err != nil {
			return err
		}
		out, err := s.cli(nil, "topic describe", "born-on-demand")
		if err == nil && !bytes.Contains(out, []byte("topic born-on-demand,")) {
			err = fmt.Errorf("weir sees: %s", out)
		}
		return err
	})
}

// text sends keys, values and headers that are text in each codec, each way, between kcat and weir.
func (s *suite) text() {
	in, want := textRecords()
	readers := map[string]func(topic string) ([]byte, error){
		"kcat": func(topic string) ([]byte, error) {
			return s.kcat(nil, "-C", "-t", topic, "-e", "-o", "beginning", "-f", `%o %k %s %h\n`)
		},
		"weir": func(topic string) ([]byte, error) {
			return s.cli(nil, "consume", topic, "--stop-at-end", "--format", `%o %k %v %h\n`)
		},
	}
	for _, writer := range []string{"kcat", "weir"} {
		for number, codec := range codecs {
			topic, err := s.topic("text-"+writer+"-"+codec, 1)
			if err == nil {
				err = s.writeText(writer, topic, codec, in)
			}
			for _, reader := range []string{"kcat", "weir"} {
				s.try(fmt.Sprintf("%s writes keys, values and headers in %s, %s reads them", writer, codec, reader), func() error {
					if err != nil {
						return err
					}
					got, err := readers[reader](topic)
					if err != nil {
						return err
					}
					return equal(got, want)
				})
			}
			s.try(fmt.Sprintf("what %s writes in %s arrives in %s", writer, codec, codec), func() error {
				if err != nil {
					return err
				}
				records, err := s.read("tcp", topic, textCount)
				if err != nil {
					return err
				}
				return usedCodec(records, number)
			})
		}
	}
}

const textCount = 300

// textRecords is what a producer reads and, written by a consumer, what comes of it.
func textRecords() (in, want []byte) {
	for i := range textCount {
		key, value := fmt.Sprintf("key-%d", i%17), strings.Repeat(fmt.Sprintf("value %d of many, ", i), i%9+1)
		in = fmt.Appendf(in, "%s:%s\n", key, value)
		want = fmt.Appendf(want, "%d %s %s from=here,empty=\n", i, key, value)
	}
	return in, want
}

func (s *suite) writeText(writer, topic, codec string, in []byte) (err error) {
	switch writer {
	case "kcat":
		_, err = s.kcat(in, "-P", "-t", topic, "-K", ":", "-z", codec, "-H", "from=here", "-H", "empty=",
			"-X", "linger.ms=500") // a batch of one short record is left uncompressed: it would only grow
	default:
		_, err = s.cli(in, "produce", topic, "--key-delimiter", ":", "--compression", codec, "--header", "from=here", "--header", "empty=")
	}
	return err
}

// spread checks that equal keys meet in one partition, whoever writes them: both use Java's murmur2.
func (s *suite) spread() {
	s.try("weir places keys where murmur2 clients do", func() error {
		topic, err := s.topic("spread", 7)
		if err != nil {
			return err
		}
		var in bytes.Buffer
		for i := range 50 {
			fmt.Fprintf(&in, "key-%d:x\n", i)
		}
		if _, err := s.kcat(in.Bytes(), "-P", "-t", topic, "-K", ":", "-X", "topic.partitioner=murmur2"); err != nil {
			return err
		}
		first, err := s.sortedPlaces(topic)
		if err != nil {
			return err
		}
		if _, err := s.cli(in.Bytes(), "produce", topic, "--key-delimiter", ":"); err != nil {
			return err
		}
		second, err := s.sortedPlaces(topic)
		if err == nil && bytes.Count(first, []byte("\n")) != 50 {
			err = fmt.Errorf("kcat's 50 keys are %d", bytes.Count(first, []byte("\n")))
		}
		if err != nil {
			return err
		}
		return equal(second, first)
	})
}

// sortedPlaces is every distinct "partition key" of a topic, in order.
func (s *suite) sortedPlaces(topic string) ([]byte, error) {
	out, err := s.cli(nil, "consume", topic, "--stop-at-end", "--format", `%p %k\n`)
	if err != nil {
		return nil, err
	}
	return output(out, "sort", "-u")
}

// places asks for offsets by number, from the end, and by time.
func (s *suite) places() {
	topic, err := s.topic("places", 1)
	if err == nil {
		_, err = s.kcat(lines(0, 10), "-P", "-t", topic)
	}
	time.Sleep(20 * time.Millisecond)
	between := fmt.Sprint(time.Now().UnixMilli())
	time.Sleep(20 * time.Millisecond)
	if err == nil {
		_, err = s.kcat(lines(10, 20), "-P", "-t", topic)
	}
	read := func(name string, want []byte, args ...string) {
		s.try(name, func() error {
			if err != nil {
				return err
			}
			got, err := s.kcat(nil, args...)
			if err != nil {
				return err
			}
			return equal(got, want)
		})
	}
	read("kcat reads from an offset", lines(15, 20), "-C", "-t", topic, "-e", "-o", "15")
	read("kcat reads the last three", lines(17, 20), "-C", "-t", topic, "-e", "-o", "-3")
	read("kcat reads from a time", lines(10, 20), "-C", "-t", topic, "-e", "-o", "s@"+between)
	read("kcat reads up to a time", lines(0, 10), "-C", "-t", topic, "-e", "-o", "beginning", "-o", "e@"+between)
	read("kcat reads the first four", lines(0, 4), "-C", "-t", topic, "-e", "-o", "s@0", "-c", "4")
	read("kcat asks for an offset by time", fmt.Appendf(nil, "%s [0] offset 10\n", topic), "-Q", "-t", topic+":0:"+between)
	read("kcat asks for the earliest offset", fmt.Appendf(nil, "%s [0] offset 0\n", topic), "-Q", "-t", topic+":0:-2")
	read("kcat asks for the end", fmt.Appendf(nil, "%s [0] offset 20\n", topic), "-Q", "-t", topic+":0:-1")
	s.try("weir reads from an offset", func() error {
		if err != nil {
			return err
		}
		got, err := s.cli(nil, "consume", topic, "--from", "15", "--stop-at-end")
		if err != nil {
			return err
		}
		return equal(got, lines(15, 20))
	})
}

// idempotence lets kcat send many small batches under sequence numbers.
func (s *suite) idempotence() {
	s.try("an idempotent kcat writes 5000 records once and in order", func() error {
		topic, err := s.topic("idempotent", 1)
		if err != nil {
			return err
		}
		if _, err := s.kcat(lines(0, 5000), "-P", "-t", topic, "-X", "enable.idempotence=true", "-X", "batch.num.messages=7", "-X", "linger.ms=0"); err != nil {
			return err
		}
		records, err := s.read("tcp", topic, 5000)
		if err != nil {
			return err
		}
		var got bytes.Buffer
		for _, rec := range records {
			if rec.ProducerID < 0 {
				return fmt.Errorf("offset %d carries no producer id", rec.Offset)
			}
			got.Write(append(rec.Value, '\n'))
		}
		return equal(got.Bytes(), lines(0, 5000))
	})
}

func lines(from, to int) []byte {
	var b bytes.Buffer
	for i := from; i < to; i++ {
		fmt.Fprintf(&b, "line %d\n", i)
	}
	return b.Bytes()
}
