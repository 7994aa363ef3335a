-- Older versions know no paused job. Of comparisons that lay in shared texts the values are lost; they stand in the records.
DELETE FROM job_queue WHERE job_id IN (SELECT id FROM jobs WHERE state IN ('pausing', 'paused'));
UPDATE jobs SET state = 'cancelled', finished_us = CAST(extract(epoch FROM now()) * 1000000 AS BIGINT) WHERE state IN ('pausing', 'paused');
UPDATE results SET
    comparisons = coalesce((SELECT t.comparisons FROM result_texts t WHERE t.job_id = results.job_id
        AND t.attempt = results.attempt AND t.ordinal = results.text_ordinal), comparisons),
    explanation = coalesce((SELECT t.explanation FROM result_texts t WHERE t.job_id = results.job_id
        AND t.attempt = results.attempt AND t.ordinal = results.text_ordinal), explanation)
WHERE text_ordinal IS NOT NULL;
-- Why a record has no match was said by its kind alone.
UPDATE results SET explanation = CASE kind
    WHEN 'missing' THEN 'nothing on the ' || CASE status WHEN 'unmatched_left' THEN 'right' ELSE 'left' END || ' side is like it'
    WHEN 'duplicate' THEN 'repeats' || coalesce(' ' || related_id, '') || ' of its own side'
    WHEN 'outbid' THEN 'its best candidate' || coalesce(' ' || related_id, '') || ' is a better match for another record'
    WHEN 'contra' THEN 'undone by' || coalesce(' ' || related_id, '') || ' of its own side'
    WHEN 'unlike' THEN 'its best candidate' || coalesce(' ' || related_id, '') || ' is too unlike'
    ELSE explanation END
WHERE match_id IS NULL AND explanation = '';
ALTER TABLE results DROP COLUMN text_ordinal;
DROP TABLE result_texts;
DROP TABLE job_checkpoints;
