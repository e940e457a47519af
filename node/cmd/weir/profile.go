package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/weirmq/weir/node/explain"
)

// profileSettings are what a profile can hold: values of the connection's flags, in the order of --help.
var profileSettings = []struct{ flag, variable string }{
	{"brokers", "WEIR_BROKERS"},
	{"transport", "WEIR_TRANSPORT"},
	{"tls", "WEIR_TLS"},
	{"ca", "WEIR_CA"},
	{"cert", "WEIR_CERT"},
	{"cert-key", "WEIR_CERT_KEY"},
	{"timeout", "WEIR_TIMEOUT"},
}

// profile is a named set of flags.
type profile struct {
	name   string
	values map[string]string // by flag
}

// profiles is the file of profiles.
type profiles struct {
	Use      string                       `json:"use,omitempty"` // the one in use
	Previous string                       `json:"previous,omitempty"`
	Profiles map[string]map[string]string `json:"profiles"`
}

// profilePath is where the file is: WEIR_CONFIG, or in the user's configuration directory.
func profilePath() (string, error) {
	if p := os.Getenv("WEIR_CONFIG"); p != "" {
		return p, nil
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "weir", "profiles.json"), nil
}

// readProfiles reads the file. One that does not exist holds nothing.
func readProfiles() (*profiles, error) {
	all := &profiles{Profiles: map[string]map[string]string{}}
	path, err := profilePath()
	if err != nil {
		return all, nil // without a home there are no profiles
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return all, nil
	}
	if err != nil {
		return nil, fail(explain.ProfileInvalid, "", err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(all); err != nil {
		return nil, fail(explain.ProfileInvalid, "", fmt.Errorf("%s: %w", path, err))
	}
	for name, values := range all.Profiles {
		for flag := range values {
			if !slices.ContainsFunc(profileSettings, func(s struct{ flag, variable string }) bool { return s.flag == flag }) {
				return nil, fail(explain.ProfileInvalid, "", fmt.Errorf("%s: profile %s: there is no setting %q", path, name, flag))
			}
		}
	}
	if all.Profiles == nil {
		all.Profiles = map[string]map[string]string{}
	}
	return all, nil
}

// write replaces the file, whole or not at all.
func (p *profiles) write() error {
	path, err := profilePath()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	b, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".profiles-")
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// loadProfile finds a profile, the one in use if no name is given. No profile is an empty one.
func loadProfile(name string) (profile, error) {
	all, err := readProfiles()
	if err != nil {
		return profile{}, err
	}
	given := name != ""
	if !given {
		if name = all.Use; name == "" {
			return profile{}, nil
		}
	}
	values, ok := all.Profiles[name]
	if !ok {
		if !given {
			return profile{}, nil // it was removed by hand
		}
		hint := ""
		if near := explain.Nearest(name, all.names()); near != "" {
			hint = "did you mean " + near + "? `weir profile ls` lists what there is"
		}
		return profile{}, fail(explain.ProfileNotFound, hint, fmt.Errorf("there is no profile %q", name))
	}
	return profile{name, values}, nil
}

func (p *profiles) names() []string {
	var names []string
	for name := range p.Profiles {
		names = append(names, name)
	}
	slices.SortFunc(names, strings.Compare)
	return names
}
