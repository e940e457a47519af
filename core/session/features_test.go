package session

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirmq/weir/core/protocol"
)

func TestAFeatureIsInForceOnlyWithEverythingItNeeds(t *testing.T) {
	full := slices.Clone(apis)
	for _, f := range features {
		for _, l := range f.levels {
			for _, n := range l {
				if n.version > protocol.MaxVersion(n.key) {
					t.Errorf("%s needs %v version %d, which the codec does not have", f.name, n.key, n.version)
				}
				if !has(full, n) {
					full = append(full, API{Key: n.key, VersionMax: protocol.MaxVersion(n.key)})
				}
			}
		}
	}
	for _, f := range features {
		if got := levelOf(f, full); int(got) != len(f.levels) {
			t.Errorf("%s has level %d with everything there", f.name, got)
		}
		for i, l := range f.levels {
			for _, n := range l {
				missing := slices.DeleteFunc(slices.Clone(full), func(a API) bool { return a.Key == n.key })
				if got := levelOf(f, missing); int(got) > i {
					t.Errorf("%s has level %d without %v", f.name, got, n.key)
				}
				older := slices.Clone(full)
				for k := range older {
					if older[k].Key == n.key {
						older[k].VersionMax = n.version - 1
					}
				}
				if got := levelOf(f, older); int(got) > i {
					t.Errorf("%s has level %d with %v up to version %d", f.name, got, n.key, n.version-1)
				}
			}
		}
	}
	for version := int16(3); version <= 5; version++ {
		r := new(protocol.APIVersionsResponse)
		r.Default()
		addFeatures(r, full, version)
		if len(r.SupportedFeatures) != len(features) || len(r.FinalizedFeatures) != len(features) || r.FinalizedFeaturesEpoch != 0 {
			t.Fatalf("version %d: %+v", version, r)
		}
		for _, s := range r.SupportedFeatures {
			if version < 4 && s.MinVersion == 0 {
				t.Errorf("version %d: %s from 0, which these clients do not take", version, s.Name)
			}
		}
	}
}

func TestApiVersionsTellsTheFeaturesThatTheTableKeeps(t *testing.T) {
	s, out := newSession(), Out{}
	in := kmsg.NewPtrApiVersionsRequest()
	in.ClientSoftwareName, in.ClientSoftwareVersion = "tester", "1.0"
	s.Receive(1000, frame(in, 4, 9), &out)
	r := kmsg.NewPtrApiVersionsResponse()
	r.Version = 4
	if err := r.ReadFrom(body(t, out.Frames[0], 9, false)); err != nil {
		t.Fatal(err)
	}
	want := Features()
	if len(r.FinalizedFeatures) != len(want) {
		t.Fatalf("%+v, want %+v", r.FinalizedFeatures, want)
	}
	for i, f := range r.FinalizedFeatures {
		if f.Name != want[i].Name || f.MaxVersionLevel != want[i].Level {
			t.Errorf("%+v, want %+v", f, want[i])
		}
	}
}
