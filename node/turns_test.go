package node

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/weirmq/weir/core/effect"
)

type charged struct {
	conn effect.ConnID
	cost int64
	n    int
}

// While all have something waiting, nobody is ahead of anybody by more than the largest charge.
func TestTurnsAreFairByCharge(t *testing.T) {
	const costMax = 1000
	rapid.Check(t, func(t *rapid.T) {
		var ts turns[charged]
		conns := rapid.IntRange(1, 8).Draw(t, "connections")
		costs := rapid.SliceOfN(rapid.Int64Range(1, costMax), conns, conns).Draw(t, "costs")
		for i := range conns {
			for range 3 {
				ts.push(effect.ConnID(i), charged{conn: effect.ConnID(i), cost: costs[i]})
			}
		}
		got := make([]int64, conns)
		for range rapid.IntRange(1, 2000).Draw(t, "rounds") {
			one := ts.pop()
			ts.push(one.conn, one)
			ts.charge(one.conn, one.cost)
			got[one.conn] += one.cost
		}
		for i := range got {
			for j := range got {
				if got[i]-got[j] > 2*costMax {
					t.Fatalf("connection %d got %d, connection %d %d", i, got[i], j, got[j])
				}
			}
		}
	})
}

// Nothing is lost or invented, each connection's order stays, and nothing is remembered when nobody competes.
func TestTurnsKeepWhatTheyAreGiven(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var ts turns[charged]
		waiting := map[effect.ConnID][]int{}
		var out []charged
		next, count := 0, 0
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			conn := effect.ConnID(rapid.IntRange(0, 5).Draw(t, "connection"))
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0, 1:
				ts.push(conn, charged{conn: conn, n: next})
				waiting[conn] = append(waiting[conn], next)
				next++
				count++
			case 2:
				if len(waiting[conn]) == 0 {
					continue
				}
				n := waiting[conn][rapid.IntRange(0, len(waiting[conn])-1).Draw(t, "which")]
				if !ts.remove(conn, func(c charged) bool { return c.n == n }) {
					t.Fatalf("%d of connection %d is not there", n, conn)
				}
				kept := waiting[conn][:0]
				for _, other := range waiting[conn] {
					if other != n {
						kept = append(kept, other)
					}
				}
				waiting[conn] = kept
				count--
			case 3:
				if len(out) > 0 && rapid.Bool().Draw(t, "charge") {
					ts.charge(out[0].conn, rapid.Int64Range(0, 1000).Draw(t, "cost"))
					out = out[1:]
				} else if count > 0 {
					one := ts.pop()
					if len(waiting[one.conn]) == 0 || waiting[one.conn][0] != one.n {
						t.Fatalf("connection %d: %d comes, %v wait", one.conn, one.n, waiting[one.conn])
					}
					waiting[one.conn] = waiting[one.conn][1:]
					out = append(out, one)
					count--
				}
			}
			if ts.count != count || ts.out != len(out) {
				t.Fatalf("it says %d wait and %d are out; %d and %d", ts.count, ts.out, count, len(out))
			}
		}
		for ts.count > 0 {
			out = append(out, ts.pop())
		}
		for _, one := range out {
			ts.charge(one.conn, 1)
		}
		if len(ts.byConn) != 0 || len(ts.lines) != 0 {
			t.Error("it remembers somebody")
		}
	})
}
