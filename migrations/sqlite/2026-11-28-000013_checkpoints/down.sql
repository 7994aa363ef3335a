-- Older versions know no paused job. Of comparisons that lay in shared texts the values are lost; they stand in the records.
DELETE FROM job_queue WHERE job_id IN (SELECT id FROM jobs WHERE state IN ('pausing', 'paused'));
UPDATE jobs SET state = 'cancelled' WHERE state IN ('pausing', 'paused');
UPDATE results SET
    comparisons = coalesce((SELECT t.comparisons FROM result_texts t WHERE t.job_id = results.job_id
        AND t.attempt = results.attempt AND t.ordinal = results.text_ordinal), comparisons),
    explanation = coalesce((SELECT t.explanation FROM result_texts t WHERE t.job_id = results.job_id
        AND t.attempt = results.attempt AND t.ordinal = results.text_ordinal), explanation)
WHERE text_ordinal IS NOT NULL;
ALTER TABLE results DROP COLUMN text_ordinal;
DROP TABLE result_texts;
DROP TABLE job_checkpoints;
