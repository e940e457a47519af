package config

import (
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func load(t *testing.T, file string, environ []string, settings ...Setting) (Config, []string, error) {
	t.Helper()
	path := ""
	if file != "" {
		path = filepath.Join(t.TempDir(), "server.properties")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Load(path, environ, settings)
}

func TestEverySpellingIsOfAPropertyThatTakesIt(t *testing.T) {
	for _, p := range Properties() {
		for _, name := range append(p.Spellings(), p.Name) {
			c := Default()
			if known, err := c.Set(name, p.Default); !known && err != nil || Spelt(name) != p.Name {
				t.Errorf("%s is said to be %q, not %s: %v", name, Spelt(name), p.Name, err)
			}
		}
	}
	for _, name := range []string{"log.retention.hours", "log.retention.minutes"} {
		if Spelt(name) != "log.retention.ms" {
			t.Errorf("%s is %q", name, Spelt(name))
		}
	}
	if other := Spelt("zookeeper.connect"); other != "" {
		t.Errorf("what means nothing here is said to be %q", other)
	}
}

func TestFileOfKafkaIsUnderstood(t *testing.T) {
	c, ignored, err := load(t, strings.Join([]string{
		"# a broker", "! of ours", "broker.id=7", "listeners=PLAINTEXT://0.0.0.0:19092",
		"advertised.listeners = PLAINTEXT://kafka.example:9092", "log.dirs:/srv/weir", "num.partitions 3",
		"log.retention.hours=2", "zookeeper.connect=zk:2181", "num.io.threads=8", `broker.rack=a\`, "   b", "",
	}, "\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.NodeID != 7 || c.Listener != "0.0.0.0:19092" || c.Advertised != "kafka.example:9092" || c.DataDir != "/srv/weir" ||
		c.Topics.Partitions != 3 || c.Topics.Retention != 2*time.Hour || c.Rack != "ab" {
		t.Errorf("%+v", c)
	}
	if !slices.Equal(ignored, []string{"zookeeper.connect", "num.io.threads"}) {
		t.Errorf("ignored %v", ignored)
	}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
}

func TestLaterSourcesWin(t *testing.T) {
	environ := []string{"WEIR_NUM_PARTITIONS=5", "WEIR_LOG_DIRS=/env", "WEIR_TEST_SOMETHING=1", "HOME=/"}
	c, _, err := load(t, "num.partitions=3\nlog.dirs=/file\nbroker.id=2", environ, Setting{Name: "log.dirs", Value: "/flag"})
	if err != nil || c.Topics.Partitions != 5 || c.DataDir != "/flag" || c.NodeID != 2 {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestMistakesAreNamedWithTheirPlaceAndCure(t *testing.T) {
	_, _, err := load(t, "num.partitons=3\nlog.segment.bytes=1GB\nlisteners=SASL_SSL://:9092", []string{"WEIR_LOG_RETENTION_MS=x"},
		Setting{Name: "frobnicate", Value: "1", From: "--set"})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		"server.properties:1: there is no property \"num.partitons\"; did you mean num.partitions?",
		"server.properties:2: log.segment.bytes: it is a whole number from 1024 to 2147483647",
		"server.properties:3: listeners: only PLAINTEXT and SSL listeners are served yet, not SASL_SSL",
		"WEIR_LOG_RETENTION_MS: log.retention.ms",
		"--set: there is no property \"frobnicate\"; `weir node --help`",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q:\n%v", want, err)
		}
	}
}

func TestValidateFindsWhatDoesNotFit(t *testing.T) {
	for claim, change := range map[string]func(*Config){
		"log.dirs is not set":     func(c *Config) { c.DataDir = "" },
		"message.max.bytes":       func(c *Config) { c.Topics.MessageBytesMax = c.Limits.RequestBytesMax + 1 },
		"listeners":               func(c *Config) { c.Listener = "9092" },
		"a port number":           func(c *Config) { c.HTTP = "localhost:http" },
		"advertised.listeners":    func(c *Config) { c.Advertised = ":9092" },
		"it stands for many":      func(c *Config) { c.Advertised = "0.0.0.0:9092" },
		"is no host name":         func(c *Config) { c.Advertised = "my host:9092" },
		"an SSL listener needs":   func(c *Config) { c.TLS = true },
		"belong together":         func(c *Config) { c.TLSKey = "key.pem" },
		"a host and a port":       func(c *Config) { c.Advertised = "broker:0" },
		"\"x\" is not a port":     func(c *Config) { c.Listener = "127.0.0.1:x" },
		"\"70000\" is not a port": func(c *Config) { c.Listener = "127.0.0.1:70000" },
	} {
		c := Default()
		c.DataDir = "/srv"
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), claim) {
			t.Errorf("%s: %v", claim, err)
		}
	}
}

func TestAdvertisedAddress(t *testing.T) {
	bound := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 4242}
	for _, c := range []struct {
		listener, advertised, host string
		port                       int32
		guess                      bool
	}{
		{"127.0.0.1:9092", "", "127.0.0.1", 9092, false},
		{"127.0.0.1:0", "", "127.0.0.1", 4242, false},
		{"0.0.0.0:9092", "", "localhost", 9092, true},
		{":9092", "", "localhost", 9092, true},
		{"[::]:9092", "", "localhost", 9092, true},
		{"0.0.0.0:9092", "broker:19092", "broker", 19092, false},
	} {
		config := Config{Listener: c.listener, Advertised: c.advertised}
		if host, port := config.Advertise(bound); host != c.host || port != c.port || config.AdvertisesGuess() != c.guess {
			t.Errorf("%+v: %s:%d, guess %v", c, host, port, config.AdvertisesGuess())
		}
	}
}

func TestPropertiesAreWhole(t *testing.T) {
	all := Properties()
	if !slices.IsSortedFunc(all, func(a, b Property) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("properties are not in order")
	}
	seen := map[string]bool{}
	for _, n := range append(names(), irrelevant...) {
		if seen[n] {
			t.Errorf("%s is there twice", n)
		}
		seen[n] = true
	}
	// Setting a property to its value changes nothing; setting all of them sets every field.
	d := Default()
	var c Config
	for _, p := range all {
		if p.Doc == "" || p.Type == "" {
			t.Errorf("%s is not documented", p.Name)
		}
		if p.Value(&d) != p.Default {
			t.Errorf("%s: the default %q reads back as %q", p.Name, p.Default, p.Value(&d))
		}
		if _, err := c.Set(p.Name, p.Value(&d)); err != nil {
			t.Error(err)
		}
	}
	if !reflect.DeepEqual(c, d) {
		t.Errorf("read back as %+v", c)
	}
	// Every field of the struct belongs to a property; listeners sets two, Listener and TLS.
	set := reflect.ValueOf(Config{})
	if n := leaves(set); n != len(all)+1 {
		t.Errorf("%d fields and %d properties", n, len(all))
	}
}

func TestASecuredListenerReadsBack(t *testing.T) {
	c := Default()
	if _, err := c.Set("listeners", "ssl://broker:9093"); err != nil || !c.TLS || c.Listener != "broker:9093" {
		t.Fatalf("%v: %+v", err, c)
	}
	for _, p := range Properties() {
		if p.Name == "listeners" && p.Value(&c) != "SSL://broker:9093" {
			t.Errorf("it reads back as %q", p.Value(&c))
		}
	}
	if _, err := c.Set("listeners", "broker:9092"); err != nil || c.TLS {
		t.Errorf("%v: %+v", err, c)
	}
}

func leaves(v reflect.Value) int {
	if v.Kind() != reflect.Struct {
		return 1
	}
	n := 0
	for i := range v.NumField() {
		n += leaves(v.Field(i))
	}
	return n
}

func FuzzFileNeverPanics(f *testing.F) {
	f.Add([]byte("a=b\\\nc\n#x\n!y\nd:e\nnum.partitions 3"))
	f.Fuzz(func(t *testing.T, b []byte) {
		settings, err := parse("f", b)
		if err != nil {
			return
		}
		c := Default()
		for _, s := range settings {
			_, _ = c.Set(s.Name, s.Value)
		}
	})
}
