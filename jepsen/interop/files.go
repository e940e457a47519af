package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// file is a text to send. kcat can neither send an empty line from its standard input nor a record that is
// longer than its own limit, so some texts only weir can send by line.
type file struct {
	name string
	text []byte
}

// emptyLines reports whether the file has a line without a byte.
func (f *file) emptyLines() bool {
	return bytes.HasPrefix(f.text, []byte("\n")) || bytes.Contains(f.text, []byte("\n\n"))
}

// readLogs reads the *.log files of a directory, or makes some.
func readLogs(dir string) ([]file, error) {
	if dir == "" {
		return madeFiles(), nil
	}
	paths, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("%s holds no *.log", dir)
	}
	var files []file
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		files = append(files, file{filepath.Base(path), b})
	}
	return files, nil
}

// madeFiles are texts with what texts have: lines of a service's log, with Unix and with Windows line ends,
// empty ones, long ones, bytes that are no text, no newline at the end.
func madeFiles() []file {
	r := rand.New(rand.NewPCG(1, 2))
	var service, windows, gaps, long, noise bytes.Buffer
	for i := range 5000 {
		line := fmt.Sprintf("2026-11-21T08:%02d:%02d INFO worker-%d request %x took %d ms", i/60%60, i%60, r.IntN(9), r.Uint64(), r.IntN(900))
		service.WriteString(line + "\n")
		windows.WriteString(line + "\r\n")
		gaps.WriteString(line + strings.Repeat("\n", 1+r.IntN(3)))
	}
	for i := range 40 {
		fmt.Fprintf(&long, "%s\n", strings.Repeat(fmt.Sprintf("%d;", i), 1+r.IntN(90_000)))
	}
	for range 2000 {
		line := make([]byte, 1+r.IntN(300))
		for i := range line {
			if line[i] = byte(r.Uint32()); line[i] == '\n' {
				line[i] = 0
			}
		}
		noise.Write(append(line, '\n'))
	}
	open := slices.Clone(service.Bytes()[:service.Len()-1])
	return []file{
		{"service.log", service.Bytes()},
		{"windows.log", windows.Bytes()},
		{"gaps.log", gaps.Bytes()},
		{"long.log", long.Bytes()},
		{"bytes.log", noise.Bytes()},
		{"open-end.log", open},
	}
}

// program is one that writes files to a topic, or reads them.
type program struct {
	name  string
	write func(topic string, text []byte) error
	read  func(topic string) ([]byte, error)
}

func (s *suite) programs() []program {
	weir := func(transport, codec string) program {
		return program{
			"weir over " + transport,
			func(topic string, text []byte) error {
				_, err := s.cli(text, "produce", append([]string{topic, "--compression", codec}, s.over(transport)...)...)
				return err
			},
			func(topic string) ([]byte, error) {
				return s.cli(nil, "consume", append([]string{topic, "--stop-at-end"}, s.over(transport)...)...)
			},
		}
	}
	return []program{
		{
			"kcat",
			func(topic string, text []byte) error {
				_, err := s.kcat(text, "-P", "-t", topic, "-z", "snappy")
				return err
			},
			func(topic string) ([]byte, error) {
				return s.kcat(nil, "-C", "-t", topic, "-e", "-o", "beginning")
			},
		},
		weir("tcp", "zstd"),
		weir("quic", "lz4"),
	}
}

// byLine sends every line of files as a record, through every pair of programs.
func (s *suite) byLine(files []file) {
	for i := range files {
		f := &files[i]
		want := f.text
		if len(want) > 0 && want[len(want)-1] != '\n' {
			want = append(slices.Clip(want), '\n') // a consumer ends every record with one
		}
		for w, writer := range s.programs() {
			if w == 0 && f.emptyLines() {
				continue
			}
			topic, err := s.topic("lines", 1)
			if err == nil {
				err = writer.write(topic, f.text)
			}
			for _, reader := range s.programs() {
				s.try(fmt.Sprintf("%s, %d bytes, goes line by line from %s to %s", f.name, len(f.text), writer.name, reader.name), func() error {
					if err != nil {
						return err
					}
					got, err := reader.read(topic)
					if err != nil {
						return err
					}
					return equal(got, want)
				})
			}
		}
	}
}

// exact sends every line of files with its newline through weir's own commands, which gives any file back
// byte for byte, also one that does not end with a newline.
func (s *suite) exact(files []file) {
	for i := range files {
		f := &files[i]
		s.try(fmt.Sprintf("%s, %d bytes, comes back byte for byte from weir produce | weir consume", f.name, len(f.text)), func() error {
			topic, err := s.topic("exact", 1)
			if err != nil {
				return err
			}
			if _, err := s.cli(f.text, "produce", append([]string{topic, "--keep-newline"}, s.over("tcp")...)...); err != nil {
				return err
			}
			got, err := s.cli(nil, "consume", append([]string{topic, "--stop-at-end", "--format", "%v"}, s.over("tcp")...)...)
			if err != nil {
				return err
			}
			return equal(got, f.text)
		})
	}
}

// whole sends files as one record each, which is how kcat takes any bytes.
func (s *suite) whole(files []file) {
	const fits = 900 << 10
	for i := range files {
		f := &files[i]
		if len(f.text) > fits {
			continue
		}
		topic, err := s.topic("whole", 1)
		if err == nil {
			err = s.writeWhole(topic, f.text)
		}
		for _, reader := range []struct {
			name string
			read func() ([]byte, error)
		}{
			{"kcat", func() ([]byte, error) { return s.kcat(nil, "-C", "-t", topic, "-e", "-o", "beginning", "-D", "") }},
			{"weir", func() ([]byte, error) { return s.cli(nil, "consume", topic, "--stop-at-end", "--format", "%v") }},
		} {
			s.try(fmt.Sprintf("%s, %d bytes, goes as one record from kcat to %s", f.name, len(f.text), reader.name), func() error {
				if err != nil {
					return err
				}
				got, err := reader.read()
				if err != nil {
					return err
				}
				return equal(got, f.text)
			})
		}
	}
}

// writeWhole sends bytes as one record, by a file that kcat reads.
func (s *suite) writeWhole(topic string, text []byte) error {
	path := filepath.Join(s.dir, topic)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return err
	}
	_, err := s.kcat(nil, "-P", "-t", topic, path)
	return err
}
