DROP TABLE job_parts;
