package judge

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// bucketJSON has Le as text, as Prometheus writes it, because JSON has no +Inf.
type bucketJSON struct {
	Le    string  `json:"le"`
	Count float64 `json:"count"`
}

// MarshalJSON keeps the last bucket's +Inf.
func (b Bucket) MarshalJSON() ([]byte, error) {
	return json.Marshal(bucketJSON{strconv.FormatFloat(b.Le, 'g', -1, 64), b.Count})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (b *Bucket) UnmarshalJSON(data []byte) error {
	var j bucketJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return err
	}
	le, err := strconv.ParseFloat(j.Le, 64)
	if err != nil {
		return fmt.Errorf("bound of a latency bucket: %w", err)
	}
	*b = Bucket{Le: le, Count: j.Count}
	return nil
}
