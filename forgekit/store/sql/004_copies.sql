-- Schema 2.3.0: images may have a copy at an address as well, such as s3://bucket/prefix.

alter table generated_images add column kept_at varchar;  -- the address of the copy; null: none was sent yet
