package metadata

import (
	"testing"

	"github.com/weirmq/weir/core/model"
)

// Who is told the same as another has the same image, and not an equal one.
func TestMemoSharesWhatComesOfTheSameBatch(t *testing.T) {
	m := NewMemo()
	from := NewImage()
	batch := batchOf(from.Version(), topicRecord("a", 1))
	a, changes, _, err := m.Apply(from, batch)
	if err != nil {
		t.Fatal(err)
	}
	b, again, _, err := m.Apply(from, batch)
	if err != nil || a != b || changes != again {
		t.Errorf("applied twice: %p and %p, %v", a, b, err)
	}
	alone, _, _, err := (*Memo)(nil).Apply(from, batch)
	if err != nil || alone == a || !alone.Equal(a) {
		t.Errorf("without a memo: %v", err)
	}
	m.ForgetBefore(from.Version())
	if c, _, _, _ := m.Apply(from, batch); c != a {
		t.Error("it was forgotten, and somebody may still come to it")
	}
	m.ForgetBefore(a.Version() + 1)
	if c, _, _, _ := m.Apply(from, batch); c == a {
		t.Error("it was to be forgotten")
	}
	read := 0
	for range 2 {
		if _, err := m.Read([]byte("x"), 7, func([]byte, model.Offset) (*Image, error) { read++; return a, nil }); err != nil {
			t.Fatal(err)
		}
	}
	if read != 1 {
		t.Errorf("an image was read %d times", read)
	}
	m.ForgetBefore(8)
	if _, err := m.Read([]byte("x"), 7, func([]byte, model.Offset) (*Image, error) { read++; return a, nil }); err != nil || read != 2 {
		t.Errorf("it was read %d times, and forgotten once: %v", read, err)
	}
}

// Who began with an image of its own has what the others have from where it meets them on.
func TestMemoJoinsThoseWhoCameByAnotherWay(t *testing.T) {
	m := NewMemo()
	first, second := batchOf(0, topicRecord("a", 1)), batchOf(1, topicRecord("b", 2))
	a, _, joined, err := m.Apply(NewImage(), first)
	if err != nil || joined {
		t.Fatalf("the first joined: %t, %v", joined, err)
	}
	b, _, _, err := m.Apply(a, second)
	if err != nil {
		t.Fatal(err)
	}
	read, err := m.Read([]byte("image"), a.Version(), func([]byte, model.Offset) (*Image, error) { i, _, err := NewImage().Apply(first); return i, err })
	if err != nil || read != a {
		t.Errorf("an image was read that others came to by the log, and is another: %v", err)
	}
	m.ForgetBefore(b.Version())
	late, _, joined, err := m.Apply(NewImage(), first)
	if err != nil || joined || late == a || !late.Equal(a) {
		t.Fatalf("what nobody knows any more was joined: %t, %v", joined, err)
	}
	for range 2 {
		met, changes, joined, err := m.Apply(late, second)
		if err != nil || met != b || !joined || len(changes.Topics) != 1 {
			t.Errorf("it did not meet the others: %t, %v", joined, err)
		}
	}
}
