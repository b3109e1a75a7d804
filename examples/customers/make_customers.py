"""Make customers.csv and new.csv: invented customers of a telephone company.

python examples/customers/make_customers.py    (needs numpy)
"""

import csv
import datetime as dt
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
COLUMNS = ["customer", "joined", "plan", "country", "age", "fee", "calls", "paperless", "churned"]
PLANS = {"basic": 0.6, "plus": 0.0, "pro": -0.9}
COUNTRIES = {"AT": 0.0, "CH": -0.4, "DE": 0.2, "FR": 0.5}


def customers(random: np.random.Generator, count: int, first: int) -> list[list[str]]:
    """`count` rows, numbered from `first`; one age in twelve is missing."""
    rows = []
    for number in range(first, first + count):
        plan = random.choice(list(PLANS), p=[0.5, 0.3, 0.2])
        country = random.choice(list(COUNTRIES), p=[0.2, 0.2, 0.4, 0.2])
        days, age = int(random.integers(0, 2000)), int(random.integers(18, 85))
        fee = round(float(random.gamma(6, 5)), 2)
        calls = int(random.poisson(2))
        paperless = bool(random.random() < 0.6)
        score = PLANS[plan] + COUNTRIES[country] - 0.4 * paperless - 0.8
        score += 0.05 * (fee - 30) + 0.7 * (calls - 2) + 0.001 * (days - 1000) - 0.02 * (age - 50)
        churned = random.random() < 1 / (1 + np.exp(-1.5 * score))
        joined = dt.date(2020, 1, 1) + dt.timedelta(days=days)
        rows.append(
            [
                f"C{number:04}",
                joined.isoformat(),
                plan,
                country,
                "" if random.random() < 1 / 12 else str(age),
                f"{fee:.2f}",
                str(calls),
                "true" if paperless else "false",
                "yes" if churned else "no",
            ]
        )
    return rows


def write(name: str, columns: list[str], rows: list[list[str]]) -> None:
    """A CSV beside this program."""
    with (HERE / name).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(row[: len(columns)] for row in rows)


def main() -> None:
    """1,500 customers of whom we know who left, and 40 of whom we do not."""
    random = np.random.default_rng(0)
    write("customers.csv", COLUMNS, customers(random, 1500, 1))
    write("new.csv", COLUMNS[:-1], customers(random, 40, 1501))


if __name__ == "__main__":
    main()
