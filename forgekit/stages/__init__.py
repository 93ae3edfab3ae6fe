"""The five stages: functions from tables to tables. The store is their only channel."""
