"""Customers of the demo: what they write, in English and Spanish, and how they want to be greeted.

A seed draws who is trained on and who is kept unseen: other sentences in another order, other people.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

__all__ = ["Customer", "draw_customers"]


@dataclass(frozen=True, slots=True)
class Customer:
    """A message, its language ("en" or "es") and the greeting that the customer should get."""

    query: str
    language: str
    greeting: str

    def __str__(self) -> str:
        return self.query


_SENTENCES = {
    "en": (
        "Hi, I am {name}.",
        "Good morning, this is {name}, I need a new laptop.",
        "Hello, my name is {name} and I want to return a lamp.",
        "How much is this book? I'm {name}.",
        "Thanks for the help yesterday! - {name}",
        "Good evening, {name} here, looking for a red jacket.",
        "Do you sell garden chairs? My name is {name}.",
        "Hey there, it's {name}, is my order ready?",
        "I would like a blue sofa. Regards, {name}",
        "{name} speaking, where is my parcel?",
        "Can I pay by card? Yours, {name}",
        "My name is {name}. Which phone would you recommend?",
        "Hello! I'm {name} and I am looking for running shoes.",
        "Could you call me back? This is {name}.",
        "I'm {name}, and I'd like to cancel an order.",
        "Good afternoon, you are talking to {name}; do you have tea?",
        "Is this bicycle on sale? I am {name}.",
        "Please help me choose a camera. My name's {name}.",
        "This is {name}. When do you open tomorrow?",
        "I am {name} and my lamp arrived broken.",
        "Good day, I'm called {name}, do you deliver on Sundays?",
        "Which of these bags is bigger? - {name}",
    ),
    "es": (
        "Hola, soy {name}.",
        "Buenos días, me llamo {name} y busco un regalo.",
        "Hola, mi nombre es {name}, ¿tienen zapatos?",
        "¿Cuánto cuesta este libro? Soy {name}.",
        "Necesito ayuda con mi pedido, gracias, {name}.",
        "Buenas tardes, le habla {name}, quiero una factura.",
        "¿Venden sillas de jardín? Me llamo {name}.",
        "Buenas, aquí {name}, ¿está listo mi pedido?",
        "Quisiera un sofá azul. Saludos, {name}",
        "Soy {name}, ¿dónde está mi paquete?",
        "¿Puedo pagar con tarjeta? Atentamente, {name}",
        "Me llamo {name}. ¿Qué teléfono me recomienda?",
        "¡Hola! Soy {name} y busco unas zapatillas.",
        "¿Me pueden llamar? Habla {name}.",
        "Soy {name} y quiero cancelar un pedido.",
        "Buenas noches, mi nombre es {name}; ¿tienen té?",
        "¿Está en oferta esta bicicleta? Soy {name}.",
        "Ayúdeme a elegir una cámara. Me llamo {name}.",
        "Aquí {name}. ¿A qué hora abren mañana?",
        "Soy {name} y mi lámpara llegó rota.",
        "Buen día, mi nombre es {name}, ¿entregan los domingos?",
        "¿Cuál de estos bolsos es más grande? - {name}",
    ),
}
_FIRST_NAMES = {
    "en": "Sam Emily Laura Oliver Tom George Grace Henry Alice Jack Sophie Daniel Megan Peter Nora Lucas Chloe Ethan "
    "Hannah Simon Lily Adam Ruth Oscar Julia Max",
    "es": "Juan Lucía Carlos Marta Pedro Elena Diego Ana Pablo Carmen Javier Rosa Miguel Sofía Andrés Pilar Jorge Inés "
    "Raúl Teresa Luis Clara Sergio Marina Óscar Beatriz",
}
_GREETINGS = {"en": "Hello", "es": "Hola"}


def draw_customers(seed: int, *, train: int = 20, unseen: int = 24) -> tuple[list[Customer], list[Customer]]:
    """(customers to train on, customers never shown), half of each in each language.

    No person and no sentence of one group is in the other. They are greeted by the names that they give.

    >>> known, unseen = draw_customers(0)
    >>> len(known), len(unseen), {c.greeting for c in known} & {c.greeting for c in unseen}
    (20, 24, set())
    """
    rng = random.Random(seed)
    groups: tuple[list[Customer], list[Customer]] = ([], [])
    for language, sentences in _SENTENCES.items():
        people = _FIRST_NAMES[language].split()
        rng.shuffle(people)
        mixed = rng.sample(sentences, len(sentences))
        cut = train // 2
        for index in range((train + unseen) // 2):
            name = people[index]
            sentence = mixed[index] if index < cut else mixed[cut + (index - cut) % (len(mixed) - cut)]
            customer = Customer(sentence.format(name=name), language, f"{_GREETINGS[language]}, {name}!")
            groups[index >= cut].append(customer)
    for group in groups:
        rng.shuffle(group)
    return groups
