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
	a, changes, err := m.Apply(from, batch)
	if err != nil {
		t.Fatal(err)
	}
	b, again, err := m.Apply(from, batch)
	if err != nil || a != b || changes != again {
		t.Errorf("applied twice: %p and %p, %v", a, b, err)
	}
	alone, _, err := (*Memo)(nil).Apply(from, batch)
	if err != nil || alone == a || !alone.Equal(a) {
		t.Errorf("without a memo: %v", err)
	}
	m.ForgetBefore(from.Version())
	if c, _, _ := m.Apply(from, batch); c != a {
		t.Error("it was forgotten, and somebody may still come to it")
	}
	m.ForgetBefore(a.Version())
	if c, _, _ := m.Apply(from, batch); c == a {
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
