package broker

import "testing"

// A broker that has just been given a partition may not have been answered by the new controller yet: it has what there is.
func TestALeaderThatWasJustToldToLeadIsNotDoubted(t *testing.T) {
	f := newFollows(t)
	f.b.voter = nil
	session := f.b.config.Controller.SessionTimeout
	f.b.now, f.b.self.lease.heardAt = 10+2*session, 10
	if !f.b.leases() {
		t.Fatal("nobody else could lead")
	}
	p := &partition{toldAt: 10}
	if !f.b.doubted(p) {
		t.Error("it was not heard for two sessions, and is not doubted")
	}
	if p.toldAt = f.b.now - session; f.b.doubted(p) {
		t.Error("it was told to lead a session ago, and is doubted")
	}
}
